package verify

import (
	"context"
	"time"

	"tallystream/publish/log"
)

// Source is where published objects are read from. It is not trusted. An
// object that is not there is log.ErrAbsent; every other error says that
// nothing is known about the object.
type Source interface {
	Get(ctx context.Context, key string) ([]byte, error)
}

// maxObject bounds what a source can make us hold: a county's table of a large
// election has some 100 MB.
const maxObject = 1 << 30

// fetchTimeout bounds one request: a large document over a slow line.
const fetchTimeout = 2 * time.Minute

// Open reads a published election from a URL (http or https) or a directory.
func Open(location string) (Source, error) {
	return log.OpenFiles(location, maxObject, fetchTimeout)
}
