"""Results: serializers, places, targets, and what is made of them."""
