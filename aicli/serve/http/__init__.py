"""HTTP: the application, its routes and limits, bodies, parameters and documents."""
