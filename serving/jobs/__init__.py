"""Work beside answering: one worker's jobs, the child that computes, and which model is served."""
