"""Running a scenario: in this process or in workers, with what is told and written down."""
