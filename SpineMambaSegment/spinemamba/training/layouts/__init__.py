"""Layouts of labelled data sets: VerSe (BIDS), nnU-Net, TotalSegmentator, SPIDER, CTSpine1K."""
