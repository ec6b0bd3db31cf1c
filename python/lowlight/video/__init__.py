"""Videos and folders of numbered pictures: bright frames whose noise and exposure are steady over time."""
