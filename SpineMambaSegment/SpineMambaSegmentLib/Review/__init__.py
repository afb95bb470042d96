"""The review of a segmentation: state, rules, actions, undo. No Qt."""
