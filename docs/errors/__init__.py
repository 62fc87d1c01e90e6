"""The pages of the error codes, installed as ``graphc.error_pages``: what ``graphc explain`` prints."""
