package shim

import (
	"bytes"
	"io"
	"log"
	"sync"
)

// unasked is how net/http begins to say, through the log package, that an upstream has sent an answer to no request. It
// goes on with that answer, and the key that may be in it. Nothing but this says so.
const unasked = "Unsolicited response received on idle HTTP channel"

// quieten keeps answers of upstreams out of the log package's output, which net/http has no other way of being kept
// from. It changes the whole process, once.
func quieten() {
	quieting.Lock()
	defer quieting.Unlock()
	if _, already := log.Writer().(quiet); !already {
		log.SetOutput(quiet{log.Writer()})
	}
}

var quieting sync.Mutex

// quiet writes what it is given, but for the rest of a line that begins with unasked.
type quiet struct{ to io.Writer }

// Write writes a line. Loggers write each with one call.
func (q quiet) Write(line []byte) (int, error) {
	i := bytes.Index(line, []byte(unasked))
	if i < 0 {
		return q.to.Write(line)
	}
	cut := append(bytes.Clone(line[:i+len(unasked)]), '\n')
	if n, err := q.to.Write(cut); err != nil {
		return min(n, len(line)), err
	}
	return len(line), nil
}
