package elections

import "tallystream/schemas"

// Truth is an election and how it ends. Its two sources are Generate and the
// importer in simulator/openelections. It is safe for concurrent use.
type Truth interface {
	// Definition is the exact JSON of the election definition.
	Definition() []byte
	// Election is the definition, compiled.
	Election() *schemas.Election
	// Cells returns the final row of unit u in the layout of its style, every
	// contest reported. It overwrites dst and uses its array if that is large
	// enough.
	Cells(u schemas.UnitIndex, dst []schemas.Count) []schemas.Count
}

// Row returns dst cut or grown to n cells, all zero.
func Row(dst []schemas.Count, n int) []schemas.Count {
	if cap(dst) < n {
		return make([]schemas.Count, n)
	}
	dst = dst[:n]
	clear(dst)
	return dst
}
