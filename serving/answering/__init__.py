"""Answers: records as they are sent, their scores and reasons, and the words for them."""
