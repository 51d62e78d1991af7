"""What people are told: events of their runs, progress of their jobs, on a stream, by mail, by webhook."""
