input 0
