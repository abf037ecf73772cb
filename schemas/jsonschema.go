package schemas

import (
	"embed"
	"io/fs"
)

//go:embed json/*.schema.json
var jsonSchemas embed.FS

// JSONSchemas holds a JSON Schema (2020-12) for each public format, by file
// name: "submission.schema.json" and so on. They are the public contract, to
// be published with the results; the readers of this package are held against
// them by tests. Formats that are signed notes have a schema of a string: the
// note's text.
func JSONSchemas() fs.FS {
	sub, err := fs.Sub(jsonSchemas, "json")
	if err != nil { // "json" is a valid path
		panic("schemas: " + err.Error())
	}
	return sub
}
