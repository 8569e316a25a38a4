"""What is wrong with revisions before they run: pure functions of their source, their SQL and facts of the database."""
