"""What a reader sees: tables, pictures, the page, the files of a step."""
