"""What a .tflite file says, read by aicli's own code: it follows no offset before it has checked it."""
