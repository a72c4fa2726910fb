package logapi

type crowds struct{}
