"""What training needs beside the weights: gradients, optimizer, activations; what adapters change."""
