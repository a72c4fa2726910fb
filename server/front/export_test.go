package front

import "github.com/bursar-sts/bursar/server/fault"

// SurfaceOf tells status and code of a kind of fault, and whether the table has it.
func SurfaceOf(k fault.Kind) (status int, code string, ok bool) {
	s, ok := surfaceOf(k)
	return s.status, s.code, ok
}
