"""What estimators are made of: base classes for models of your own."""
