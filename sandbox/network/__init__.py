"""What optimisers, regularisers and landscape tools read from a network: layers as matrices."""
