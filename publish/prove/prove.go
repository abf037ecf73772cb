// Package prove holds the second implementation of the verifier: JavaScript
// without a build step, which the results pages run to prove what they show, and
// node runs to count a whole night again. There is no Go in it but for tests.
package prove

import "embed"

// Modules are what browsers load. They import each other by these names, so
// they must lie side by side.
//
//go:embed *.js
var Modules embed.FS
