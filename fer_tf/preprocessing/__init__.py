"""What stands between a gray face and the network: filters, stacks, resizing and scaling, as Keras layers."""
