package openelections

import "io"

// Limited lets tests use small limits.
func Limited(r io.Reader, limit int64) io.Reader { return &limited{r: r, left: limit} }
