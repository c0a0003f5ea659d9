"""The shape of what goes into the trunk and of what comes out of it."""

INPUT_SIZE = 224  # pixels, both sides
FINAL = 1280  # features of the last layer, averaged over the picture
STAGES = (80, 112, 192, 320)  # channels of the last four stages; each gives its mean and its spread over the picture
FEATURES = FINAL + 2 * sum(STAGES)
