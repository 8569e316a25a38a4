"""What a statement does to a database: pure functions of its text and of facts from the catalogue."""
