"""What the platform keeps of people: the tokens they were given, and how they leave."""
