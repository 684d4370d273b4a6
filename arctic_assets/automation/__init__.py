"""Jobs named by intent. Sensors and schedules come here."""
