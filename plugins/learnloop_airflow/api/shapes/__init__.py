"""What routes answer with, where no dataclass of the domain says it already. Times are UTC."""
