"""What happens to a packet, told to a person: who sends it where, whose rules it meets, which rule decides, and why."""
