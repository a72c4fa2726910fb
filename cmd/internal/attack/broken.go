package attack

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// unbroken runs part of a check, and says where it panicked; "" if it did not. One check that this program has wrong,
// or that the server surprised, must not cost the report of all others.
func unbroken(run func()) (broke string) {
	defer func() {
		if v := recover(); v != nil {
			broke = "the check itself is wrong, a mistake of this program: it broke down at " + place() + because(v)
		}
	}()
	run()
	return ""
}

// place is the line that panicked.
func place() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // past Callers, place and the deferred call
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "an unknown line"
		}
	}
}

// because is what the runtime complains of. Other values may hold anything, a token too, and are not repeated.
func because(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return " (" + err.Error() + ")"
	}
	return ""
}
