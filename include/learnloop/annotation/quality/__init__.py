"""How far answers can be trusted: agreement, consensus, label errors, speed, and the policy that follows from them."""
