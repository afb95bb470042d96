"""Vertebrae divided into parts by geometry: body, pedicles, laminae, processes, endplates."""
