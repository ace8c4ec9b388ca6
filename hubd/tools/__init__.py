"""Words for the programs hubd drives: argv tuples, unit files and parsers. Runs nothing."""
