"""What a user gets: the wheel, its types, the documents, the examples and the demo."""
