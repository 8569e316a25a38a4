DROP TABLE public.parts;
DROP FUNCTION public.twice(integer);
