"""What runs inside jobs: trainers, evaluation, structure trials. Files in, files out."""
