//! The directory in memory: the file checked as a whole, and look-ups by every id.
