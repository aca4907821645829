// A file of assembly lets Go declare functions without a body: see solve in main.go.
