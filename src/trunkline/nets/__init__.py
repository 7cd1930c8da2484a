"""The network: embeddings, a trunk, a form of sharing, a head per task.

numbers     how numbers enter: plain, piecewise-linear, periodic
trunks      the layers: MLP, residual
sharing     who reads which layers: one trunk for all, experts behind gates, trunks side by side, adapters
stack       networks of one shape trained in one pass
"""
