//! What a difference *is*.
