package logapi

// Readers is how many read events now.
func (a *API) Readers() int { return a.crowds.total() }
