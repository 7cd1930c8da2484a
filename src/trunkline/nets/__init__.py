"""The network: embeddings, a trunk, a form of sharing, a head per task.

trunks      the layers: MLP, residual; how numbers enter them
sharing     who reads which layers: one trunk for all, experts behind gates, trunks side by side, adapters
stack       networks of one shape trained in one pass
"""
