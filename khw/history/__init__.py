"""What past runs left behind: journals, and what is read from them."""
