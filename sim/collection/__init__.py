"""Episodes from experts: `stills` (random states), `record` (one episode), `collect` (a whole data set)."""
