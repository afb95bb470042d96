"""Series from an archive by DICOMweb: fetched, segmented, and stored back as DICOM SEG."""
