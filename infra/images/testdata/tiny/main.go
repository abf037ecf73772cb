// Command tiny stands for Tallystream in tests of the image: it is built in a
// second and has a dependency to list.
package main

import (
	"fmt"

	"golang.org/x/mod/semver"
)

func main() { fmt.Println(semver.Canonical("v1")) }
