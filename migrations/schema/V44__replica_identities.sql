-- Without a key, a publication of all tables would refuse every change of these: the note of the clock, without which
-- no Idempotency-Key is taken, and that of the next opening, without which no webhook is told.
alter table sugang.clock replica identity full;
alter table sugang.openings replica identity full;
