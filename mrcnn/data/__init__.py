"""From files to the arrays that the network eats: pictures, masks and targets."""
