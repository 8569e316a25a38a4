--
-- PostgreSQL database dump
--
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
SET row_security = off;

CREATE FUNCTION public.twice(integer) RETURNS integer
    LANGUAGE sql IMMUTABLE
    AS $_$ SELECT $1 * 2; $_$;

CREATE TABLE public.parts (
    id integer NOT NULL,
    label text DEFAULT '100%; -- no comment'::text,
    double_id integer GENERATED ALWAYS AS (public.twice(id)) STORED
);
ALTER TABLE ONLY public.parts
    ADD CONSTRAINT parts_pkey PRIMARY KEY (id);
