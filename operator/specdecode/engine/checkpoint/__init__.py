"""What a checkpoint says of its model: config.json and the headers of its weights, as values. It opens no file."""
